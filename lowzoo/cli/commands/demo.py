"""`lowzoo demo`: a page that a phone is taught on."""

from lowzoo.cli.options.from_signature import command
from lowzoo.cli.options.on_stderr import on_stderr
from lowzoo.demo.functions import teach

demo = command(teach, lambda visit: visit.lines(), follow=on_stderr)
