// From a picture to the network's input, number for number as lowzoo.preprocess does it: framing in whole pixels, then
// a separable antialiased resize whose weights have 22 bits and whose rows are rounded to bytes in between, as PIL's.

const BITS = 22;  // of a weight: a sum of bytes times weights then fits into 32
const sinc = (x) => x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
const bicubic = (x) => x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
const HAMMING = [Math.fround(0.54), Math.fround(0.46)];
const FILTERS = {  // half the width, and the weight at a distance
  box: [0.5, (x) => x > -0.5 && x <= 0.5 ? 1 : 0],
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  hamming: [1, (x) => Math.abs(x) >= 1 ? 0 : sinc(Math.abs(x)) * (HAMMING[0] + HAMMING[1] * Math.cos(Math.abs(x) * Math.PI))],
  bicubic: [2, (x) => bicubic(Math.abs(x))],
  lanczos: [3, (x) => Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0],
};

// Of two numbers that are equally near the even one, as Python's round.
function nearestEven(x) {
  const low = Math.floor(x), part = x - low;
  return part < 0.5 ? low : part > 0.5 ? low + 1 : low % 2 === 0 ? low : low + 1;
}

const offset = (side, wanted) => side >= wanted ? nearestEven((side - wanted) / 2) : -Math.floor((wanted - side) / 2);

// Where a picture of height x width comes to lie: its size after resizing, and the row and the column of it that
// become the input's first, negative where a border comes before.
export function frame(height, width, spec) {
  const [tall, wide] = spec.target;
  let resized;
  if (spec.crop_mode === "squash") {
    resized = [tall, wide];
  } else if (spec.by_shorter_side) {
    const longer = Math.trunc(tall * Math.max(height, width) / Math.min(height, width));
    resized = height <= width ? [tall, longer] : [longer, tall];
  } else {
    const ratios = [height / tall, width / wide];
    const ratio = spec.crop_mode === "border" ? Math.max(...ratios) : Math.min(...ratios);
    resized = [Math.max(1, nearestEven(height / ratio)), Math.max(1, nearestEven(width / ratio))];
  }
  return { resized, top: offset(resized[0], spec.height), left: offset(resized[1], spec.width) };
}

// For `count` places of a side that goes from `from` to `to` pixels, beginning with place `first`: where each one's
// source pixels begin, and their weights in whole numbers.
export function weights(from, to, first, count, name) {
  const starts = new Int32Array(count), rows = [];
  if (name === "nearest" || from === to) {
    const step = from / to;
    let at = step * 0.5;  // added up place by place, with the rounding that this brings
    for (let place = 0; place < first + count; place++, at += step) {
      if (place >= first) starts[place - first] = Math.min(from - 1, Math.trunc(at));
    }
    for (let i = 0; i < count; i++) rows.push(Int32Array.of(1 << BITS));
    return { starts, rows };
  }
  const [half, filter] = FILTERS[name];
  const scale = from / to, stretch = Math.max(1, scale), support = half * stretch, inverse = 1 / stretch;
  for (let i = 0; i < count; i++) {
    const centre = (first + i + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const exact = [];
    let sum = 0;
    for (let x = 0; x < end - begin; x++) {
      const weight = filter((x + begin - centre + 0.5) * inverse);
      exact.push(weight);
      sum += weight;
    }
    starts[i] = begin;
    rows.push(Int32Array.from(exact, (weight) => {
      const part = sum === 0 ? weight : weight / sum;
      return Math.trunc((part < 0 ? -0.5 : 0.5) + part * (1 << BITS));
    }));
  }
  return { starts, rows };
}

const HALF = 1 << (BITS - 1);
const endOf = ({ starts, rows }) => rows.reduce((most, row, i) => Math.max(most, starts[i] + row.length), 0);
const byte = (sum) => { const value = sum >> BITS; return value < 0 ? 0 : value > 255 ? 255 : value; };

// Sums over some rows of the picture to bytes, columns first: (end - begin, columns, 3).
function acrossThenDown(height, width, across, down, columns, rows, strips) {
  const begin = down.starts[0], end = endOf(down), narrow = new Uint8Array((end - begin) * columns * 3);
  for (const { y, pixels } of strips(begin, end)) {
    let place = (y - begin) * columns * 3;
    for (let line = 0; line < pixels.length; line += width * 4) {
      for (let column = 0; column < columns; column++) {
        const taps = across.rows[column];
        let at = line + across.starts[column] * 4, red = HALF, green = HALF, blue = HALF;
        for (let tap = 0; tap < taps.length; tap++, at += 4) {
          const weight = taps[tap];
          red = (red + weight * pixels[at]) | 0;
          green = (green + weight * pixels[at + 1]) | 0;
          blue = (blue + weight * pixels[at + 2]) | 0;
        }
        narrow[place++] = byte(red);
        narrow[place++] = byte(green);
        narrow[place++] = byte(blue);
      }
    }
  }
  const found = new Uint8Array(rows * columns * 3), step = columns * 3;
  for (let row = 0; row < rows; row++) {
    const taps = down.rows[row], source = (down.starts[row] - begin) * step;
    for (let i = 0; i < step; i++) {
      let sum = HALF, at = source + i;
      for (let tap = 0; tap < taps.length; tap++, at += step) sum = (sum + taps[tap] * narrow[at]) | 0;
      found[row * step + i] = byte(sum);
    }
  }
  return found;
}

// The same the other way round.
function downThenAcross(height, width, across, down, columns, rows, strips) {
  const left = across.starts[0], wide = endOf(across) - left, step = wide * 3;
  const sums = new Int32Array(rows * step).fill(HALF);
  let first = 0;
  for (const { y: top, pixels } of strips(down.starts[0], endOf(down))) {
    for (let line = 0; line < pixels.length; line += width * 4) {
      const y = top + line / (width * 4);
      while (first < rows && down.starts[first] + down.rows[first].length <= y) first++;
      for (let row = first; row < rows && down.starts[row] <= y; row++) {
        const weight = down.rows[row][y - down.starts[row]];
        let place = row * step;
        for (let x = 0, at = line + left * 4; x < wide; x++, at += 4) {
          sums[place++] += weight * pixels[at];
          sums[place++] += weight * pixels[at + 1];
          sums[place++] += weight * pixels[at + 2];
        }
      }
    }
  }
  const found = new Uint8Array(rows * columns * 3);
  for (let row = 0, place = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const taps = across.rows[column], source = row * step + (across.starts[column] - left) * 3;
      for (let channel = 0; channel < 3; channel++) {
        let sum = HALF;
        for (let tap = 0; tap < taps.length; tap++) sum = (sum + taps[tap] * byte(sums[source + tap * 3 + channel])) | 0;
        found[place++] = byte(sum);
      }
    }
  }
  return found;
}

// Bytes of the network's input. `strip(top, rows)` gives RGBA of some rows of the picture, so that one of 50 megapixels
// needs no copy of itself.
export function prepare(height, width, spec, strip, { channelsLast = true, stripRows = 256 } = {}) {
  const { resized, top, left } = frame(height, width, spec);
  // The part of the resized picture that is seen, and where it lies in the input.
  const y0 = Math.max(top, 0), x0 = Math.max(left, 0), above = Math.max(-top, 0), beside = Math.max(-left, 0);
  const rows = Math.min(spec.height - above, resized[0] - y0), columns = Math.min(spec.width - beside, resized[1] - x0);
  const across = weights(width, resized[1], x0, columns, spec.interpolation);
  const down = weights(height, resized[0], y0, rows, spec.interpolation);
  function* strips(begin, end) {
    for (let y = begin; y < end; y += stripRows) {
      const count = Math.min(stripRows, end - y);
      yield { y, pixels: strip(y, count).subarray(0, count * width * 4) };
    }
  }
  // Bytes in between are rounded, so the order of the two counts.
  const tallFirst = spec.tall_first && height > resized[0] && height - resized[0] > 2 * (width - resized[1]);
  const seen = (tallFirst ? downThenAcross : acrossThenDown)(height, width, across, down, columns, rows, strips);
  const area = spec.height * spec.width, input = new Uint8Array(3 * area);
  const channelStep = channelsLast ? 1 : area, pixelStep = channelsLast ? 3 : 1;
  if (rows * columns < area) {
    for (let pixel = 0; pixel < area; pixel++) {
      for (let channel = 0; channel < 3; channel++) input[pixel * pixelStep + channel * channelStep] = spec.border[channel];
    }
  }
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const pixel = (row + above) * spec.width + column + beside;
      for (let channel = 0; channel < 3; channel++) input[pixel * pixelStep + channel * channelStep] = seen[at++];
    }
  }
  return input;
}
