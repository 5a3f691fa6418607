"""Every function a plan may use; importing this package registers them all."""

from bastion_plan.functions import operators as operators  # isort: skip
from bastion_plan.functions import numeric as numeric  # isort: skip
from bastion_plan.functions import aggregates as aggregates  # isort: skip
