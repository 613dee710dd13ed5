"""What everything else stands on: errors, notes, what shows itself while it works. No torch, no other room."""
