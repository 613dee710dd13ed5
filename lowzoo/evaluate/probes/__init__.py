"""Classifiers on frozen features: settings, what they are fed, how they are trained or solved."""
