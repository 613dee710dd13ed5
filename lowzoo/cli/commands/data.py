"""`lowzoo data`: what lowzoo sees in images before anyone trains on them."""

from lowzoo.cli.options.from_signature import command
from lowzoo.inspect.functions import data_report as function

data = command(function, lambda found: found.lines())
