"""Trained models of finished runs, applied to clips that they were not trained on."""

from kinestore.pipeline.models.evaluate_runs import evaluate
from kinestore.pipeline.models.evaluation import Evaluation
from kinestore.pipeline.models.predict_store import PredictedClips, predict
from kinestore.pipeline.models.trained_model import TrainedModel, load_model

__all__ = ["Evaluation", "PredictedClips", "TrainedModel", "evaluate", "load_model", "predict"]
