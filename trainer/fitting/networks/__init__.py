"""The torch networks behind the kinds of `stream_detector.detection.models`: for fitting alone; graphs of their arrays
serve. A kind is one module here with a function `build(options, steps, sensors)`."""
