"""The platform itself, in a module of its own: vLLM imports it once it has chosen it."""

from vllm.platforms.cpu import CpuPlatform


class RayOnCpuPlatform(CpuPlatform):
    ray_device_key = "GPU"
