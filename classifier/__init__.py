"""One model; images in, predictions out.

The public entrance is `classifier.classify.Classifier`. Importing this package alone loads nothing:
the daemon's main process uses `contract` and `compile` and stays free of NumPy and OpenCV.
"""
