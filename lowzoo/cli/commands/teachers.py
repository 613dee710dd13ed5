"""`lowzoo teachers`: the frozen teachers that the recipes can learn from, one line for each."""

from lowzoo.cli.options.from_signature import command
from lowzoo.zoo.teachers import teachers as function

teachers = command(function, lambda found: found.lines())
