"""Encoders and their families, and what tickets do to them: gates, compaction, importance."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.models.compaction import (
        NoAttention,
        NoFfn,
        compact,
        load_compacted,
        narrow_heads,
        put_module,
        save_compacted,
        units_of,
    )
    from supertickets.models.encoder_files import encoder_revision
    from supertickets.models.encoders import (
        example_losses,
        fit_head,
        load_encoder,
        load_tokenizer,
        name_labels,
        set_task_dropout,
    )
    from supertickets.models.families import Family, family_of, layer_parts, layers_of, shape_of
    from supertickets.models.gates import masked
    from supertickets.models.importance import importance_scores
else:
    __getattr__, __dir__ = handed_on(__name__)
