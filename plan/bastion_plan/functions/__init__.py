"""Every function a plan may use; importing this package registers them all."""

from bastion_plan.functions import aggregates as aggregates
from bastion_plan.functions import binaries as binaries
from bastion_plan.functions import bins as bins
from bastion_plan.functions import nested as nested
from bastion_plan.functions import numeric as numeric
from bastion_plan.functions import operators as operators
from bastion_plan.functions import rolling as rolling
from bastion_plan.functions import rows as rows
from bastion_plan.functions import strings as strings
from bastion_plan.functions import temporal as temporal
from bastion_plan.functions import toplevel as toplevel
from bastion_plan.functions import windows as windows
