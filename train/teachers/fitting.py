"""A head for a teacher that has none: prototypes fitted to its features, an extension of the paper.

A prototype head for a backbone that was published without one: an extension of RoB, not of the paper.

The embeddings of the training images are centred, rotated onto their leading principal axes and partly whitened, put
on the unit sphere and clustered by spherical k-means (Dhillon and Modha, Machine Learning 42, 2001). The centroids
play the part of MSN's prototypes. Centring matters: features after a ReLU are all positive, so their raw cosines
hardly differ. Several processes each find the nearest centroids of a part of the points; all sum up all of them, so the
centroids are those of one process.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowzoo.base.errors import LowzooError
from lowzoo.system.processes import ALONE, Processes
from lowzoo.train.heads import FittedHead
from lowzoo.train.monitoring.progress import track
from lowzoo.train.teachers.teacher import Teacher


def fit_teacher_head(
    teacher: Teacher,
    features_ND: Tensor,
    *,
    prototypes: int,
    bottleneck: int,
    whitening: float,
    seed: int,
    among: Processes = ALONE,
) -> Teacher:
    """The same teacher with prototypes fitted to its features of the training images; see `fit_head`."""
    head = fit_head(
        features_ND, prototypes=prototypes, bottleneck=bottleneck, whitening=whitening, seed=seed, among=among
    )
    text = (
        f"fitted: {prototypes} spherical k-means prototypes over {len(features_ND)} embeddings, "
        f"{head.projection.shape[1]} principal axes, whitening {whitening} (an extension of the paper)"
    )
    facts = replace(teacher.facts, head=text, prototypes=prototypes, extension=True)
    return Teacher(teacher.backbone, head, facts)


def with_fitted_head(teacher: Teacher, head: nn.Module, facts: dict[str, object]) -> Teacher:
    """The same teacher with a head that an earlier part of the run fitted."""
    known = replace(teacher.facts, head=str(facts["head"]), prototypes=int(str(facts["prototypes"])), extension=True)
    return Teacher(teacher.backbone, head, known)


def spherical_kmeans(
    points_ND: Tensor, clusters: int, *, iterations: int = 20, seed: int = 0, among: Processes = ALONE
) -> Tensor:
    """Unit centroids (K, D) of unit points (N, D), by Lloyd's iterations under the cosine.

    A centroid that loses all its points is put on the point that its own centroid serves worst.

    Args:
        points_ND: All points, in every process.
        clusters: Number of centroids.
        iterations: Number of iterations.
        seed: Random seed of the start.
        among: Processes that make this call together.

    Raises:
        LowzooError: There are fewer points than clusters.
    """
    if len(points_ND) < clusters:
        raise LowzooError(
            f"{clusters} prototypes cannot be fitted to {len(points_ND)} images",
            "Use more images (of a larger set, --set fitted_images=<more>), or --set prototypes=<fewer>",
        )
    generator = torch.Generator().manual_seed(seed)
    centroids = points_ND[torch.randperm(len(points_ND), generator=generator)[:clusters].to(points_ND.device)].clone()
    for _ in track(range(iterations), "grouping embeddings into prototypes"):
        cosine, assigned = _nearest(points_ND, centroids, among)
        sums = torch.zeros_like(centroids).index_add_(0, assigned, points_ND)
        empty = torch.bincount(assigned, minlength=clusters) == 0
        sums[empty] = points_ND[cosine.topk(int(empty.sum()), largest=False).indices]
        centroids = normalize(sums, dim=1)
    return centroids


def fit_head(
    features_ND: Tensor,
    *,
    prototypes: int,
    bottleneck: int = 256,
    whitening: float = 0.5,
    seed: int = 0,
    among: Processes = ALONE,
) -> FittedHead:
    """The fitted head of a backbone, from its features of the training images.

    Args:
        features_ND: Features (N, D), fp32.
        prototypes: Number of prototypes K.
        bottleneck: Principal axes kept, at most min(N, D).
        whitening: Each axis is divided by its spread to this power: 0 keeps the spread, 1 is full whitening.
        seed: Random seed of the k-means start.
        among: Processes that make this call together, each with all features.
    """
    bottleneck = min(bottleneck, *features_ND.shape)
    mean = features_ND.mean(0)
    # In fp32 LAPACK's solver gives up on a matrix of low rank, as that of few different images is.
    centred_ND = (features_ND - mean).double()
    variances, axes = torch.linalg.eigh(centred_ND.T @ centred_ND / len(features_ND))
    leading = variances.argsort(descending=True)[:bottleneck]
    spread = variances[leading].clamp_min(variances.max() * 1e-6).sqrt()
    head = FittedHead(features_ND.shape[1], prototypes, bottleneck=bottleneck)
    head.mean.copy_(mean)
    head.projection.copy_(axes[:, leading] / spread**whitening)
    head.prototypes.copy_(spherical_kmeans(head.bottleneck(features_ND), prototypes, seed=seed, among=among))
    return head.eval()


def _nearest(points_ND: Tensor, centroids_KD: Tensor, among: Processes, chunk: int = 2048) -> tuple[Tensor, Tensor]:
    """Cosine with, and index of, each point's centroid, both (N,); bounded memory."""
    # Whole chunks: a matmul of another size may round otherwise.
    chunks = points_ND.split(chunk)
    part = among.part(len(chunks))
    best = [(block @ centroids_KD.T).max(1) for block in chunks[part.start : part.stop]]
    cosine = torch.cat([points_ND.new_empty(0), *(found.values for found in best)])
    assigned = torch.cat(
        [torch.empty(0, dtype=torch.int64, device=points_ND.device), *(found.indices for found in best)]
    )
    if among.count == 1:
        return cosine, assigned
    everywhere = (among.gather_rows(found.cpu()).to(points_ND.device) for found in (cosine, assigned))
    return next(everywhere), next(everywhere)
