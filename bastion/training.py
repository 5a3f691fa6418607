"""What training is written with, besides torch: `from bastion.training import Adam, RemoteLearner, train_test_split`."""

from bastion.client.training.datasets import RemoteDataset
from bastion.client.training.learner import RemoteLearner
from bastion.client.training.models import ModelCard
from bastion.client.training.optimizers import SGD, Adam, AdamW, CosineLR, ExponentialLR, LinearLR, StepLR
from bastion.client.training.runs import Measured, RemoteRun
from bastion.client.training.tensors import RemoteArray, RemoteTensor, train_test_split
from bastion.client.training.tokenizers import RemoteTokenizer

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineLR",
    "ExponentialLR",
    "LinearLR",
    "Measured",
    "ModelCard",
    "RemoteArray",
    "RemoteDataset",
    "RemoteLearner",
    "RemoteRun",
    "RemoteTensor",
    "RemoteTokenizer",
    "StepLR",
    "train_test_split",
]
