"""What tells without any label whether a student learns: measured on images that it is not trained on.

`own_view`: mean reciprocal rank of an image's other view among the views of all images, in per cent. It says whether
features tell images apart and see past the changes that views make.

`teacher_neighbours`: fraction of an image's ten nearest neighbours (a quarter of the images where these are few) in the
student's features that are among those in the teacher's, in per cent: the mutual nearest neighbours of Huh et al.,
arXiv 2405.07987.

`rankme`: effective rank of the features (RankMe, Garrido et al., arXiv 2210.02885), the dimensions in use.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowzoo.data.source import ImageSource
from lowzoo.data.stores.stream import HEAD
from lowzoo.train.data.dataset import ViewDataset
from lowzoo.train.monitoring.monitor import features_of, finite, first_of_each, images_at_once, load_squares
from lowzoo.train.monitoring.progress import track
from lowzoo.train.views import ViewGroup, photometric

# Images that the monitor looks at, at most.
LIMIT = 400
_NEIGHBOURS = 10
# Of every recipe's run alike, so that their figures can be compared.
_SCALE = (0.3, 1.0)
_SEED = 0
# Cosines that differ by less are alike.
_TIE = 1e-9
# Images of which views are drawn at once.
_AT_ONCE = 16

_Context = Callable[[], AbstractContextManager[Any]]


class LabelFreeMonitor:
    """Measures a student on some images without looking at labels; images are decoded and views drawn once.

    Args:
        images: That the student is not trained on, or some of those that it is where none can be spared.
        size: Side of the network's input.
        limit: Images that are used at most.

    Raises:
        LowzooError: None of them can be read.
    """

    def __init__(self, images: ImageSource, size: int, limit: int = LIMIT) -> None:
        if images.streamed:
            limit = min(limit, HEAD)
        squares, kept = load_squares(images, limit, size, _SEED)
        # Of copies, none is nearer than another.
        first = first_of_each(squares)
        self._squares, self.different = squares[first], len(first)
        group = ViewGroup(name="global", count=2, size=size, scale=_SCALE)
        dataset, crops, params = ViewDataset(images, (group,), _SEED), [], []
        places = [(0, int(index)) for index in kept[first.numpy()]]
        blocks = [places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE)]
        for block in track(blocks, "drawing views") if len(blocks) > 1 else blocks:
            batch = dataset.__getitems__(block)
            crops.append(batch.crops[0].clone())
            params.append(batch.photometric)
            batch.release()
        self._crops_N23SS, self._params_N2P = torch.cat(crops), torch.cat(params)
        self._teachers: Tensor | None = None

    def __len__(self) -> int:
        return len(self._squares)

    def follow(self, teacher: nn.Module, side: int, device: torch.device, autocast: _Context) -> None:
        """From now on, compare with the nearest neighbours that the teacher finds; it sees images at `side` px.

        A single image has none.
        """
        if len(self) < 2:
            return
        batch = images_at_once(side, device)
        self._teachers = _neighbours(features_of(teacher, self._squares, device, autocast, batch=batch))

    def measure(self, backbone: nn.Module, device: torch.device, autocast: _Context) -> tuple[dict[str, float], Tensor]:
        """The figures of a student, see the module's docstring, and its features (N, D) of the images.

        `teacher_neighbours` is there beside a teacher alone. `own_view_error` and `teacher_neighbours_error` are the
        standard errors over the images; absent of a single one.

        Raises:
            NotFinite: Features are no finite numbers.
        """
        features = features_of(backbone, self._squares, device, autocast)
        first, second = (self._view_features(backbone, view, device, autocast) for view in (0, 1))
        figures = {**_figure("own_view", reciprocal_ranks(first, second)), "rankme": round(rankme(features), 2)}
        if self._teachers is not None:
            figures |= _figure("teacher_neighbours", _overlaps(_neighbours(features), self._teachers))
        return figures, features

    @torch.no_grad()
    def _view_features(self, backbone: nn.Module, view: int, device: torch.device, autocast: _Context) -> Tensor:
        training = backbone.training
        backbone.eval()
        out = []
        batch = images_at_once(self._crops_N23SS.shape[-1], device)
        blocks = list(zip(self._crops_N23SS.split(batch), self._params_N2P.split(batch), strict=True))
        for crops, params in track(blocks, "computing features") if len(blocks) > 1 else blocks:
            images = photometric(crops[:, view].to(device), params[:, view])
            with autocast():
                out.append(backbone(images.contiguous(memory_format=torch.channels_last)).float().cpu())
        backbone.train(training)
        return finite(torch.cat(out))


def reciprocal_ranks(queries_ND: Tensor, others_ND: Tensor) -> Tensor:
    """1 / rank (N,) of each query's own row among all rows of the others by cosine; ties count against it."""
    similar = normalize(queries_ND) @ normalize(others_ND).T
    own = similar.diagonal().unsqueeze(1)
    return 1 / (similar >= own).sum(1).clamp_min(1).double()


def rankme(features_ND: Tensor) -> float:
    """Exponential of the entropy of the normalised singular values, which are not centred; between 1 and D."""
    values = torch.linalg.svdvals(features_ND.double())
    shares = values / values.sum().clamp_min(1e-12) + 1e-7
    return float(torch.exp(-(shares * shares.log()).sum()))


def _figure(name: str, values_N: Tensor) -> dict[str, float]:
    """Mean over the images and its standard error, per cent."""
    found = {name: round(100 * float(values_N.mean()), 3)}
    if len(values_N) > 1:
        found[f"{name}_error"] = round(100 * float(values_N.std()) / len(values_N) ** 0.5, 3)
    return found


def _neighbours(features_ND: Tensor) -> Tensor:
    """Numbers (N, k) of the nearest other rows by cosine; -1 where others are as near as the last of them."""
    similar = normalize(features_ND.double()) @ normalize(features_ND.double()).T
    similar.fill_diagonal_(-2)
    count = min(_NEIGHBOURS, max(1, len(features_ND) // 4))
    found = similar.topk(count + 1, dim=1)
    tied = found.values[:, :count] <= found.values[:, count:] + _TIE
    return found.indices[:, :count].masked_fill(tied, -1)


def _overlaps(ours_NK: Tensor, theirs_NK: Tensor) -> Tensor:
    """Share (N,) of each image's neighbours that are among the others'."""
    same = (ours_NK.unsqueeze(2) == theirs_NK.unsqueeze(1)) & (ours_NK.unsqueeze(2) >= 0)
    return same.any(2).double().mean(1)
