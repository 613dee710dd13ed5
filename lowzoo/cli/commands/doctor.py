"""`lowzoo doctor`: what a report of a bug needs."""

from lowzoo.cli.options.from_signature import command
from lowzoo.system.doctor import doctor as function

doctor = command(function, lambda report: report.lines(), status=lambda report: int(bool(report.broken)))
