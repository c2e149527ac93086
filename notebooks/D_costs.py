# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # D What it costs
#
# ```{admonition} In this appendix
# **You will see** how much faster a model gets when heads and feed-forward
# blocks are removed, in training and in inference, beside what masks save and
# what the number of operations promises; and what a whole sweep costs beside
# the same runs done with Hugging Face's `Trainer`.
#
# **Claim under test** (section 9): structured tickets are the practical ones,
# since "training and inference on structured matrices are better optimized for
# hardware acceleration". And our own: that sweeps of this package are faster
# than the obvious way, which {shown}`table-throughput` measures, and change no
# score: {shown}`table-same-scores` has what can be said of that.
#
# **Cost**: of the short timings that every build makes. What takes longer is
# stored in `book/results/benchmarks.json`, which `make bench` makes.
# ```

# %% tags=["parameters"]
profile = "lab"  # lab, minilm, paper-base, or smoke
tasks = ""  # comma-separated, the first one is used; empty: the profile's
encoder = ""  # lab-base, minilm, a folder or a Hub id; empty: the profile's
train_size = 0  # training examples of a task at most; 0: the profile's
dev_size = 0  # dev examples of a task at most; 0: the profile's
batches = 8  # training minibatches that are timed at a time
repeats = 7  # rounds in which every model is timed once
benchmarks = ""  # what `make bench` wrote; empty: the recorded
data_dir = ""  # folder with TASK/train.tsv ...; empty: the lab, or the Hub

# %%
from supertickets.chapters.claims import sentences
from supertickets.chapters.display import (
    measured,
    show,
    show_claims,
    show_table,
)
from supertickets.chapters.speed import claims, figures, tables
from supertickets.studies import get_profile
from supertickets.tasks import data_ref
from supertickets.training import step_profile, step_times

scale = get_profile(
    profile,
    tasks=tasks,
    encoder=encoder,
    train_size=train_size,
    dev_size=dev_size,
)
path = tables.benchmarks_path(benchmarks)
stored = tables.read_benchmarks(path) if benchmarks or path.is_file() else None

# %% [markdown]
# ## What a ticket saves
#
# Random tickets of every sparsity level, since what a ticket costs depends on
# how much it keeps and not on how it was chosen. A *compacted* model has what
# is pruned removed from its matrices; a *masked* one computes everything and
# multiplies by zero. All models take turns, round after round, on the same
# minibatches and on one thread, so whatever else the machine does hits all of
# them; a time is divided by the full model's in the same round.
#
# The dashed line is the share of the full model's floating-point operations (of
# its matrix products) that the ticket leaves. But for the noise of timing no
# model can be expected below it: embeddings, layer norms, the optimiser and the
# calls themselves stay. The smaller the model, the more they weigh.

# %%
data = data_ref(
    scale.tasks[0], data_dir=data_dir or None, **scale.data_of(scale.tasks[0])
)
times = step_times(
    scale.encoder,
    data,
    scale.hyper,
    scale.levels,
    n_batches=batches,
    repeats=repeats,
)
print(
    f"{scale.encoder} on {scale.tasks[0]}, {scale.hyper.precision}, one "
    f"thread; medians over {repeats} rounds"
)
alt = (
    "Time relative to the full model against the level: compacted models fall "
    "along the operations, masked do not."
)
show(
    figures.step_figure(times),
    alt,
    times,
    name="steps",
    caption="What a ticket saves once its pruned units are removed; below the "
    "dashed line there is but the noise of timing.",
)
show_table(
    tables.step_table(times),
    "Time of a step relative to the full model, measured while this page was "
    "built.",
    "step-table",
)
measured(*claims.step_sentences(times))

# %% [markdown]
# Masked models can take *longer* than the full model. They pay for the
# multiplications by zero. On a CPU they pay for more: layers with a gate are
# computed by the library's ordinary code, layers without by our faster code
# (below).
#
# ### Where a step's time goes
#
# Matrix products are what a ticket removes. All other arithmetic and copying,
# and the calls between, are the price of small matrices: they set the floor
# that pruning cannot go below, and the share that faster code could still win.
# The utilisation compares a step's operations per second with those of one
# large product on the same thread (or GPU).

# %%
shares = step_profile(
    scale.encoder,
    data,
    scale.hyper,
    (0.0, max(scale.levels)),
    n_batches=batches,
)
show_table(
    shares,
    "A training step: seconds, shares of its time, operations a second "
    "(GFLOP/s).",
    "profile",
    decimals=3,
)
measured(*claims.profile_sentences(shares))

# %% [markdown]
# ## What a sweep costs
#
# One ticket is cheap; the question "which level?" takes a sweep. Here are the
# same runs done twice on one machine: by this package's sweep, and by what a
# competent user would write today: Hugging Face's `Trainer` with its default
# collator, the gates as masks, one run after another. Both have the same tasks,
# encoders, optimiser, schedule, early stopping, splits and tickets. In the lab
# the Trainer has the number of threads that suits it best, on real data all
# cores. Our time includes the start of the workers, the Trainer's leaves
# imports out.

# %%
if stored:
    print(tables.made_sentence(stored.made))
    speeds = tables.throughput_table(stored.frame)
    show_table(
        speeds,
        "Runs per minute, ours and the Trainer's, on the same specs.",
        "throughput",
    )
    if len(speeds):
        alt = (
            "Runs per minute relative to the Trainer, a bar per suite and "
            "precision, with the targets."
        )
        show(
            figures.throughput_figure(stored.frame),
            alt,
            speeds,
            name="throughput-figure",
            caption="Runs per minute, as multiples of the Trainer's.",
        )
else:
    print(
        f"There is no {path} yet. `make bench` measures and writes it; built "
        "again, this page shows it here."
    )

# %% [markdown]
# ### The same scores?
#
# Speed that changes results is worth nothing. Ours minus the Trainer's report
# score, run by run; runs of one task and seed count as one observation. Dropout
# draws other numbers on the two sides, so single runs differ. That no
# difference is seen does not make scores the same: the same are those of which
# it holds that ours are neither lower nor higher by the limit. Of models that
# have learnt nothing it says nothing: there any two ways agree.

# %%
if stored:
    same = claims.same_scores(stored.frame)
    caption = (
        "Ours minus the Trainer's report score, points; 95% intervals over "
        "tasks and seeds."
    )
    show_claims(same, caption, "same-scores")
    measured(*sentences(same[same["n"] > 1]))  # one run decides nothing

# %% [markdown]
# ### Steps of a real encoder
#
# {shown}`figure-steps` again from the stored file, the lab's encoder above the
# real one.

# %%
if stored and "steps" in set(stored.frame["side"]):
    alt = (
        "Time relative to the full model against the level, training and "
        "inference, a row of panels per task."
    )
    show(
        figures.step_figure(stored.frame),
        alt,
        tables.step_table(stored.frame),
        name="stored-steps",
        caption="The same of the lab and of a real encoder, as stored.",
    )
    show_table(
        tables.step_table(stored.frame),
        "Time of a step relative to the full model, as stored.",
        "stored-steps-table",
    )

# %% [markdown]
# ### Against the targets
#
# Before any of this was measured, it was written down what would count as fast.
# The engine's overhead is the share of time beyond the runs' own seconds, with
# runs of about a second and workers that are there already. The lab's encoder
# is so small that no target was set for its steps, nor for CoLA: its few runs
# are over in seconds, about what it takes to start our workers.

# %%
if stored:
    targets = claims.speed_claims(stored.frame)
    show_table(
        targets,
        "Targets and figures: multiples, and shares of time for the engine.",
        "speed-claims",
    )
    measured(*claims.speed_sentences(targets))

# %% [markdown]
# Where a target is missed, the profile of a step says why. Products shrink with
# the ticket; the embeddings, layer norms, dropout, optimiser and calls around
# them shrink less, most of all where sentences are short.

# %%
if stored and "profile" in set(stored.frame["side"]):
    caption = (
        "A training step of the full model and of the sparsest ticket, as "
        "stored; columns as above."
    )
    show_table(
        tables.profile_table(stored.frame),
        caption,
        "stored-profile",
        decimals=3,
    )
    measured(
        *claims.profile_sentences(tables.profile_table(stored.frame)),
        *claims.floor_sentences(stored.frame),
    )

# %% [markdown]
# ## On a GPU
#
# A small model's step is bound by the launches of its kernels, of which a GPU
# carries out hundreds. There a step is captured once for every length of batch
# as a CUDA graph and replayed
# ({py:mod}`supertickets.training.fast.replayed`), and so are evaluation and
# importance scoring of large sets. Replayed, the number of kernels is what is
# left: layers by hand need fewer than the library's, and Adamax is one
# ({py:mod}`supertickets.training.fast.kernels`). Runs that share the card take
# turns; with NVIDIA's multi-process service (MPS) their kernels run side by
# side.
#
# A *run alone* is MiniLM on all of RTE, six epochs in bf16. It is carried out
# twice in one process, by us and by the Trainer: the first run pays for what a
# process does once. A *short run* is a random ticket of MiniLM on 500 examples
# of SST-2. Step by step it is the host that is timed, which varies and does not
# mind what is pruned. Inference is replayed only where launches would take
# longer than the arithmetic, so from some level on it is faster all at once.

# %%
cards = tables.on_gpus(path.parent)
if cards:
    for card in cards:  # the newest first, which may have lacked the time
        print(tables.made_sentence(card.made))
    frame = cards[0].frame
    for row in frame[frame["side"] == "missing"].to_dict("records"):
        print(f"Not measured in the last: {row['suite']}, {row['task']}")
    show_table(
        claims.gpu_claims(cards),
        "Targets and figures on a GPU; the targets were written down before "
        "a card was seen.",
        "gpu-claims",
        decimals=1,
    )
    show_table(
        tables.throughput_table(tables.newest(cards, "theirs")),
        "Runs per minute on a GPU, ours and the Trainer's: both runs of a "
        "process together.",
        "gpu-throughput",
    )
    few = tables.newest(cards, "engine")
    few = few.loc[few["side"] == "engine"]
    few = few.assign(**{"runs/hour": 3600 * few["runs"] / few["wall"]})
    few = few.rename(columns={"peak_mib": "MiB", "gpu_mib": "GPU MiB, a run"})
    few = few.assign(MPS=few["beside"].eq("MPS"))
    few = few.sort_values(["MPS", "workers"])
    show_table(
        few[["workers", "MPS", "runs", "runs/hour", "MiB", "GPU MiB, a run"]],
        "Short runs on a GPU side by side: how many in an hour, and the memory "
        "of all workers and of a run.",
        "gpu-few-shot",
        decimals=0,
    )
    show_table(
        tables.step_table(tables.newest(cards, "steps")),
        "Time of a step on a GPU relative to the full model.",
        "gpu-steps",
    )
    profile = tables.profile_table(
        tables.newest(cards, "profile", "step by step")
    )
    show_table(
        profile,
        "A training step on a GPU, replayed, and step by step with the "
        "library's own layers; columns as above.",
        "gpu-profile",
        decimals=4,
    )
    measured(*claims.profile_sentences(profile))
    parts = {"seconds": "a step", "products": "arithmetic"}
    parts |= {"elementwise": "memory", "between": "launches"}
    floor = tables.newest(cards, "floor")
    floor = floor.loc[floor["side"] == "floor"].set_index("suite")
    floor = (1000 * floor[list(parts)]).rename(columns=parts).reset_index()
    show_table(
        floor,
        "Milliseconds of a replayed step of the full model, and of what it "
        "cannot do without: its products at the rate of a large one, the "
        "optimiser's numbers read and written once, as many kernels replayed "
        "with nothing to do.",
        "gpu-floor",
        decimals=3,
    )
    for row in floor.to_dict("records"):
        least = row["arithmetic"] + row["memory"] + row["launches"]
        times = row["a step"] / least
        measured(
            f"{row['suite']}: a replayed step takes {times:.1f} times these "
            "three together. Its products are too small for the rate of a "
            "large one."
        )
    passes = tables.newest(cards, "passes")
    passes = passes.loc[passes["side"] == "passes"]
    passes = passes.pivot_table("seconds", ["task", "mode"], "way", sort=False)
    if len(passes):
        show_table(
            passes.reset_index(),
            "Seconds of a pass over the training set on a GPU, captures "
            "included; empty where they are not worth it.",
            "gpu-passes",
            decimals=2,
        )
else:
    print("No GPU has been measured for this copy of the book (`make gpu`).")

# %% [markdown]
# ## Memory
#
# Workers side by side each hold a model. The peak over a whole sweep, of all
# processes of a side together, counting what a process has to itself:

# %%
if stored:
    show_table(
        tables.memory_table(stored.frame),
        "Peak memory, MiB.",
        "memory",
        decimals=0,
    )
    measured(*claims.memory_sentences(stored.frame))

# %% [markdown]
# ## Where the speed comes from
#
# None of these changes what a step computes, unless it says so; only dropout
# draws other numbers.
#
# - **Compaction**: a rewound model is trained without what its ticket prunes
#   ({py:func}`supertickets.compact`), so pruning speeds up the sweep that looks
#   for it.
# - **Layers by hand** ({py:mod}`supertickets.training.fast.layers`): a layer's
#   forward and backward pass are one operation, not dozens of modules and nodes
#   of autograd; query, key and value are one product. A small model spends much
#   of its time between the arithmetic. On a CPU large products in float32 are
#   oneDNN's, which on some processors is faster than MKL; on a GPU attention is
#   one kernel each way, and bf16 weights are made once a step.
# - **The pass around them** ({py:mod}`supertickets.training.fast.forward`):
#   masks, wrappers and questions a library asks before it computes are left
#   out.
# - **Flat Adamax** ({py:mod}`supertickets.training.optimiser`): all parameters
#   lie in one vector, so a step of the optimiser and the clipping of the
#   gradient are a few calls; on a GPU, one kernel.
# - **Own vocabulary** ({py:mod}`supertickets.training.fast.vocabulary`):
#   without weight decay, embeddings of words that a task never uses never
#   change, so they are left out while it trains.
# - **Dropout of 16 bits**: a random number of 16 bits decides on an element,
#   where torch draws one of 32.
# - **First token only**: the task head reads the first token, so the last layer
#   computes no other.
# - **Batches of like length** ({py:mod}`supertickets.training.batching`): texts
#   are tokenised once per worker (large sets once per machine, whose workers
#   share the memory), and little padding is computed. Other
#   examples meet in a batch than in random batches.
# - **One thread per worker, one worker per core**: small models get slower with
#   more threads; runs go side by side where none needs another's scores.
# - **bf16** for real encoders, where the device is good at it: it rounds more
#   coarsely, so the Trainer stands above in both precisions.
#
# What each of them gives, measured in pairs: the same short run of the full
# model with all of them and without one, in turn, in processor time. What
# compaction gives stands in {shown}`table-step-table`, what workers and threads
# give under "What a sweep costs". A trick that gives less than 5% on both tasks
# goes, unless other hardware needs it: rows of scores filled up and the pass
# around the layers are what a capture on a GPU asks for, flat Adamax is what
# becomes one kernel there, and beside its short steps a text is tokenised once
# or most of the time goes there; oneDNN's products were faster on another
# processor. Memory that the C library keeps from step to step, timed below,
# went.

# %%
if stored and "tricks" in set(stored.frame["side"]):
    caption = (
        "How many times the processor time a run takes without a trick; "
        "medians over rounds, quartiles."
    )
    show_table(tables.trick_table(stored.frame), caption, "tricks")
    measured(*claims.trick_sentences(stored.frame))

# %% [markdown]
# **What differs from the paper, and why.** The paper gives sizes, not times:
# its tickets are masks, and masks save nothing. That structured tickets suit
# hardware is true of these models only once the pruned units are really
# removed. Times are those of one machine; ratios taken on it carry over to
# similar ones, to GPUs they do not.
#
# **Next**: [using it](../use_it) on a task of your own.
