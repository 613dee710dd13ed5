// What is learned: of each thing the mean of its pictures' features, each brought to unit length; the answer is the
// thing whose mean has the largest cosine with a picture's features, and the margin is how far the next one is behind.

function length(values) {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

export function unit(values) {
  const by = length(values);
  if (!(by > 0) || !Number.isFinite(by)) throw new Error("the network gives nothing that can be compared for this picture");
  return Float64Array.from(values, (value) => value / by);
}

// One unit vector (D) for the features of a thing's pictures.
export function prototype(pictures) {
  const sum = new Float64Array(pictures[0].length);
  for (const features of pictures) unit(features).forEach((value, i) => { sum[i] += value; });
  return Float32Array.from(unit(sum));
}

export function similarities(features, prototypes) {
  const direction = unit(features);
  return prototypes.map((row) => row.reduce((sum, value, i) => sum + value * direction[i], 0));
}

export function nearest(cosines) {
  const order = cosines.map((_, i) => i).sort((a, b) => cosines[b] - cosines[a]);
  return { index: order[0], margin: order.length > 1 ? cosines[order[0]] - cosines[order[1]] : null };
}

// Prototypes side by side, (D, K) row by row, as the head multiplies with them.
export function sideBySide(prototypes) {
  const things = prototypes.length, found = new Float32Array(prototypes[0].length * things);
  prototypes.forEach((row, thing) => row.forEach((value, i) => { found[i * things + thing] = value; }));
  return found;
}
