"""Encoders and their families, and what tickets do to them: gates, compaction, importance."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.models.compaction import (
        NoAttention,
        compact,
        cut,
        ffn_stand_ins,
        mark,
        put_module,
        within,
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
    from supertickets.models.families import Family, family_of, known_family, layer_parts, layers_of, reads_in, shape_of
    from supertickets.models.gates import gate_heads, masked
    from supertickets.models.importance import importance_scores
    from supertickets.models.saved import load_compacted, save_compacted, write_model, write_readme
else:
    __getattr__, __dir__ = handed_on(__name__)
