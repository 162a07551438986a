"""The example of the README: train, score, map."""

import pixelwise as pw

data = pw.open_dataset("town")
run = pw.train(data, out="run", minutes=2)
model = pw.load(run.model)
scores = pw.evaluate(model, data.test, out="report")
print(f"mean IoU {scores.mean_iou:.3f}")
for item in scores.classes:
    print(f"{item.name:12} IoU {item.iou:.3f}")
image = data.test[0].image
labels = pw.predict(model, image)
print(labels.shape, labels.dtype)
