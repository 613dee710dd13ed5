"""Frozen teachers.

A teacher is a word: a name of the teacher catalog, a run folder of `lowzoo train`, or any MODEL word. One without a
head of its own needs a fitted head, which is an extension of the paper and is named so wherever it appears.
"""

from lowzoo.train.teachers.fitting import fit_teacher_head, with_fitted_head
from lowzoo.train.teachers.loading import brings_head, load_teacher
from lowzoo.train.teachers.teacher import Teacher, TeacherFacts

__all__ = ["Teacher", "TeacherFacts", "brings_head", "fit_teacher_head", "load_teacher", "with_fitted_head"]
