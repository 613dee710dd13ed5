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
from lowzoo.train.monitoring.monitor import count_different, features_of, finite, images_at_once, load_squares
from lowzoo.train.views import ViewGroup, photometric

# Images that the monitor looks at, at most.
LIMIT = 400
_NEIGHBOURS = 10
# Of every recipe's run alike, so that their figures can be compared.
_SCALE = (0.3, 1.0)
_SEED = 0

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
        self._squares, kept = load_squares(images, limit, size, _SEED)
        self.different = count_different(self._squares)
        group = ViewGroup(name="global", count=2, size=size, scale=_SCALE)
        batch = ViewDataset(images, (group,), _SEED).__getitems__([(0, int(index)) for index in kept])
        self._crops_N23SS, self._params_N2P = batch.crops[0].clone(), batch.photometric
        self._teachers: Tensor | None = None
        batch.release()

    def __len__(self) -> int:
        return len(self._squares)

    def follow(self, teacher: nn.Module, side: int, device: torch.device, autocast: _Context) -> None:
        """Compare with the neighbours that a teacher's backbone, which sees images at `side` px, finds from now on."""
        batch = images_at_once(side, device)
        self._teachers = _neighbours(features_of(teacher, self._squares, device, autocast, batch=batch))

    def measure(self, backbone: nn.Module, device: torch.device, autocast: _Context) -> tuple[dict[str, float], Tensor]:
        """The figures of a student, see the module's docstring, and its features (N, D) of the images.

        `teacher_neighbours` is there beside a teacher alone.

        Raises:
            NotFinite: Features are no finite numbers.
        """
        features = features_of(backbone, self._squares, device, autocast)
        first, second = (self._view_features(backbone, view, device, autocast) for view in (0, 1))
        figures = {
            "own_view": round(100 * mean_reciprocal_rank(first, second), 3),
            "rankme": round(rankme(features), 2),
        }
        if self._teachers is not None and len(self) > 1:
            figures["teacher_neighbours"] = round(100 * _overlap(_neighbours(features), self._teachers), 3)
        return figures, features

    @torch.no_grad()
    def _view_features(self, backbone: nn.Module, view: int, device: torch.device, autocast: _Context) -> Tensor:
        training = backbone.training
        backbone.eval()
        out = []
        batch = images_at_once(self._crops_N23SS.shape[-1], device)
        for crops, params in zip(self._crops_N23SS.split(batch), self._params_N2P.split(batch), strict=True):
            images = photometric(crops[:, view].to(device), params[:, view])
            with autocast():
                out.append(backbone(images.contiguous(memory_format=torch.channels_last)).float().cpu())
        backbone.train(training)
        return finite(torch.cat(out))


def mean_reciprocal_rank(queries_ND: Tensor, others_ND: Tensor) -> float:
    """Mean of 1 / rank of each query's own row among all rows of the others by cosine; ties count against it."""
    similar = normalize(queries_ND) @ normalize(others_ND).T
    own = similar.diagonal().unsqueeze(1)
    ranks = (similar >= own).sum(1).clamp_min(1)
    return float((1 / ranks.double()).mean())


def rankme(features_ND: Tensor) -> float:
    """Exponential of the entropy of the normalised singular values, which are not centred; between 1 and D."""
    values = torch.linalg.svdvals(features_ND.double())
    shares = values / values.sum().clamp_min(1e-12) + 1e-7
    return float(torch.exp(-(shares * shares.log()).sum()))


def _neighbours(features_ND: Tensor) -> Tensor:
    """Numbers (N, k) of the nearest other rows by cosine."""
    similar = normalize(features_ND) @ normalize(features_ND).T
    similar.fill_diagonal_(-2)
    return similar.topk(min(_NEIGHBOURS, max(1, len(features_ND) // 4)), dim=1).indices


def _overlap(ours_NK: Tensor, theirs_NK: Tensor) -> float:
    return float((ours_NK.unsqueeze(2) == theirs_NK.unsqueeze(1)).any(2).float().mean())
