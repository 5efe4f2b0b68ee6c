# SPDX-License-Identifier: Apache-2.0
"""What verl 0.9.1 and vLLM 0.28.0 lack on a machine without a GPU, and nothing else.

Used by `aflow_env.plugin`, which does not even import this room where it finds a GPU. Everything goes in through
verl's own registries (platform, training engine, rollout replica) or vLLM's entry point for plugins. Two functions of
theirs are replaced: `engine.use_gloo_alone` and `waiting.sleep`.
"""
