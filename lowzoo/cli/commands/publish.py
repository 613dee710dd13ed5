"""`lowzoo publish DIR --repo ORG/NAME`: a model folder on the Hub."""

from lowzoo.cli.options.from_signature import command
from lowzoo.zoo.publishing import publish as function

publish = command(function, lambda found: found.lines())
