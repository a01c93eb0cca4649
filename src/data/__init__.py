"""Files → batches. What users name in a config is re-exported here.

Nothing here imports torch: the `calcarine` commands that only read files answer at once. The data module, which
does, is `calcarine.data.datamodule.EncodingDataModule`.
"""

from .beside.context import TrialContext
from .features.principal_components import PrincipalComponents
from .features.random_projection import RandomProjection
from .features.reduction import Reduction
from .sources.algonauts2021 import Algonauts2021
from .sources.algonauts2023 import Algonauts2023
from .sources.base import Source
from .sources.betas.source import Betas
from .sources.brain_score import BrainScore
from .sources.folder import Folder
from .sources.it_spikes import ItSpikes
from .sources.nsd.source import NSD
from .sources.nsd.synthetic import NsdSynthetic
from .sources.nwb import Nwb
from .sources.simulated import Simulated
from .sources.things_fmri import ThingsFmri
from .sources.tvsd import TVSD

__all__ = [
    "NSD",
    "TVSD",
    "Algonauts2021",
    "Algonauts2023",
    "Betas",
    "BrainScore",
    "Folder",
    "ItSpikes",
    "NsdSynthetic",
    "Nwb",
    "PrincipalComponents",
    "RandomProjection",
    "Reduction",
    "Simulated",
    "Source",
    "ThingsFmri",
    "TrialContext",
]
