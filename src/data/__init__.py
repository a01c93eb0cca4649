"""Files → batches. What users name in a config is re-exported here.

Nothing here imports torch: the `calcarine` commands that only read files answer at once. The data module, which
does, is `src.data.datamodule.EncodingDataModule`.
"""

from .reduction import PrincipalComponents, Reduction
from .sources.algonauts2023 import Algonauts2023
from .sources.base import Source
from .sources.folder import Folder
from .sources.simulated import Simulated

__all__ = ["Algonauts2023", "Folder", "PrincipalComponents", "Reduction", "Simulated", "Source"]
