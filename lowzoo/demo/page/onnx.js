// The learned head, put into the bytes of an ONNX file: two nodes behind the features, one tensor, and what the file
// says of itself. ONNX is protobuf, a message is a row of fields, and a field that is not touched is copied as it is;
// so only the outermost message and the graph are taken apart, and the weights are never decoded.

// Fields of onnx.proto.
const MODEL = { graph: 7, note: 14 };
const GRAPH = { node: 1, initialiser: 5, output: 12, valueInfo: 13 };
const FLOAT = 1, INT = 2, LENGTH = 2;  // TensorProto.FLOAT, AttributeProto.INT, protobuf's wire type
const SIZES = { 1: 8, 5: 4 };  // bytes of the wire types that have a fixed size

const encoder = new TextEncoder(), decoder = new TextDecoder("utf-8", { fatal: true });
const damaged = () => new Error("the model's file is damaged");

function varintAt(bytes, at) {
  let value = 0, scale = 1;
  for (let i = 0; i < 10; i++) {
    if (at >= bytes.length) throw damaged();
    const part = bytes[at++];
    value += (part & 127) * scale;
    if (part < 128) return [value, at];
    scale *= 128;
  }
  throw damaged();
}

// Each field of a message: its number, where it begins and ends, and where its content does.
export function* fields(bytes) {
  for (let at = 0; at < bytes.length;) {
    const begin = at, [key, after] = varintAt(bytes, at);
    const number = Math.floor(key / 8), wire = key % 8;
    let from = after, to;
    if (wire === LENGTH) {
      const [size, content] = varintAt(bytes, after);
      from = content;
      to = content + size;
    } else if (wire === 0) {
      [, to] = varintAt(bytes, after);
    } else if (wire in SIZES) {
      to = after + SIZES[wire];
    } else {
      throw damaged();
    }
    if (to > bytes.length) throw damaged();
    yield { number, all: bytes.subarray(begin, to), content: bytes.subarray(from, to) };
    at = to;
  }
}

function varint(value) {
  const bytes = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return Uint8Array.from([...bytes, value]);
}

function joined(parts) {
  const found = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    found.set(part, at);
    at += part.length;
  }
  return found;
}

const whole = (number, value) => joined([varint(number * 8), varint(value)]);
const block = (number, content) => joined([varint(number * 8 + LENGTH), varint(content.length), content]);
const text = (number, value) => block(number, encoder.encode(value));
const message = (number, ...parts) => block(number, joined(parts));

function textOf(bytes, number) {
  for (const field of fields(bytes)) if (field.number === number) return decoder.decode(field.content);
  return "";
}

const node = (kind, inputs, output, attributes = []) => message(
  GRAPH.node, ...inputs.map((name) => text(1, name)), text(2, output), text(3, output), text(4, kind), ...attributes);
const integer = (name, value) => message(5, text(1, name), whole(3, value), whole(20, INT));

function tensor(name, dimensions, values) {
  const raw = new Uint8Array(values.length * 4), view = new DataView(raw.buffer);
  values.forEach((value, i) => view.setFloat32(4 * i, value, true));
  return message(GRAPH.initialiser, ...dimensions.map((size) => whole(1, size)), whole(2, FLOAT), text(8, name), block(9, raw));
}

function output(name, meaning, sizes) {
  const dimensions = sizes.map((size) => message(1, typeof size === "number" ? whole(1, size) : text(2, size)));
  return message(GRAPH.output, text(1, name), message(2, message(1, whole(1, FLOAT), message(2, ...dimensions))), text(3, meaning));
}

function graphWithHead(graph, head) {
  const kept = [], features = [];
  for (const field of fields(graph)) (field.number === GRAPH.output ? features : kept).push(field);
  if (features.length !== 1 || textOf(features[0].content, 1) !== head.features) throw damaged();
  return joined([
    ...kept.map((field) => field.all),
    block(GRAPH.valueInfo, features[0].content),
    node("LpNormalization", [head.features], head.unitFeatures, [integer("axis", 1), integer("p", 2)]),
    node("MatMul", [head.unitFeatures, head.initialiser], head.output),
    tensor(head.initialiser, [head.dimensions, head.things], head.values),
    output(head.output, head.meaning, [head.batch, head.things]),
  ]);
}

// The bytes of the file with the head.
//   features, unitFeatures, initialiser, output: names; meaning: what the output is; batch: a number or a name
//   dimensions, things, values: the prototypes (D, K), row by row
//   notes: what the file says of itself by key; null takes an entry out
export function withHead(model, head) {
  const parts = [];
  let graphs = 0;
  for (const field of fields(model)) {
    if (field.number === MODEL.graph) {
      graphs++;
      parts.push(block(MODEL.graph, graphWithHead(field.content, head)));
    } else if (field.number !== MODEL.note || !Object.hasOwn(head.notes, textOf(field.content, 1))) {
      parts.push(field.all);
    }
  }
  if (graphs !== 1) throw damaged();
  for (const [key, value] of Object.entries(head.notes)) {
    if (value !== null) parts.push(message(MODEL.note, text(1, key), text(2, value)));
  }
  return joined(parts);
}
