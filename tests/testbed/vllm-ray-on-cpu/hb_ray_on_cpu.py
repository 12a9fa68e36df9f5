"""A test-only platform of vLLM: its CPU platform, which Ray may place.

vLLM asks its platform for the name of the resource that one rank takes of Ray, and its CPU platform has none,
so it refuses Ray. "GPU" is the name that Ray's own bookkeeping gives numbers to; Ray's nodes are started with as
many pretended GPUs (`--num-gpus`) as they are to hold ranks. Nothing of vLLM is patched.
"""


def register():
    """The entry point `vllm.platform_plugins`."""
    return "hb_ray_on_cpu_platform.RayOnCpuPlatform"
