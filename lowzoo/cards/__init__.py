"""What people read of the catalog: model cards, the README's table, the list, the picture."""
