# %% [markdown]
# What the notebooks say of trio in a kernel, as a notebook of its own: `test_notebooks.py` runs it with the others.

# %%
import asyncio

import trio

import simulation
from simulation.scenario import parse

scenario = parse("{name: one-second, duration: 1s, workload: [{channel: email, arrivals: {constant: 20/s}}]}")
print("asyncio" if asyncio.get_running_loop() else "none")

# %% [markdown]
# Neither is it trio's loop that a cell awaits in, nor does retrylab hang or say something obscure then.

# %%
try:
    await simulation.run_live(scenario)  # noqa: F704
except Exception as error:
    print(type(error).__name__, error)

# %%
for _ in range(2):
    print(trio.run(simulation.run_live, scenario).summary["sent"])
print(simulation.run(scenario, runtime="trio").summary["sent"])


# %% [markdown]
# What a cell leaves running ends when trio's run does, and asyncio's loop goes on.


# %%
async def interrupted():
    with trio.move_on_after(0.1):
        await simulation.run_live(scenario)
    return await trio.to_thread.run_sync(lambda: "threads work too")


print(trio.run(interrupted))
await asyncio.sleep(0)  # noqa: F704

# %%
# %autoawait trio

# %%
print((await simulation.run_live(scenario)).summary["sent"])  # noqa: F704

# %%
# %autoawait asyncio

# %%
await asyncio.sleep(0)  # noqa: F704
print("asyncio again")
