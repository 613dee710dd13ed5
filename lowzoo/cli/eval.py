"""`lowzoo eval`: how good a model's frozen features are; one sub-command a protocol, one file a sub-command."""

import typer

from lowzoo.cli.eval_finetune import finetune
from lowzoo.cli.eval_knn import knn
from lowzoo.cli.eval_linear import linear
from lowzoo.cli.eval_lowshot import lowshot
from lowzoo.cli.eval_transfer import transfer

app = typer.Typer(rich_markup_mode=None, help="Measure how good a model's frozen features are.")


@app.callback()
def _eval() -> None:
    """Measure how good a model's frozen features are; choose a protocol."""


app.command()(knn)
app.command()(linear)
app.command()(lowshot)
app.command()(finetune)
app.command()(transfer)
