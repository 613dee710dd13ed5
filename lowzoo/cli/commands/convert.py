"""`lowzoo convert CHECKPOINT --out DIR`: a checkpoint as a folder that timm loads."""

from lowzoo.cli.options.from_signature import command
from lowzoo.conversion import convert as function

convert = command(function, lambda found: found.lines())
