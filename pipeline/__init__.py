"""Recordings -> events, windows, levels, effort.

    from pipeline import run_pipeline_single_audio, run_multi_file_pipeline
"""


def __getattr__(name: str):
    if name == "run_pipeline_single_audio":
        from pipeline.single import run_pipeline_single_audio as function
    elif name == "run_multi_file_pipeline":
        from pipeline.multi import run_multi_file_pipeline as function
    else:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    return function


__all__ = ["run_pipeline_single_audio", "run_multi_file_pipeline"]
