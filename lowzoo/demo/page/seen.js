// What the network sees of a picture, drawn: for the page's preview, and as the small picture that a session keeps.

import { frame } from "./prepare.js";
import { isSmall } from "./taught.js";

const SMALL = 96, LEAST = 12;

export function drawSeen(canvas, picture, spec) {
  const { resized, top, left } = frame(picture.height, picture.width, spec);
  const by = canvas.height / spec.height, context = canvas.getContext("2d");
  context.fillStyle = `rgb(${spec.border.join(" ")})`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, -left * by, -top * by, resized[1] * by, resized[0] * by);
}

export function fitted(canvas, height, spec) {
  canvas.height = height;
  canvas.width = Math.max(1, Math.round(height * spec.width / spec.height));
  return canvas;
}

export async function decoded(file) {
  try {
    // As lowzoo reads pictures: turned as their camera noted, their numbers as they are stored.
    return await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`“${file.name.slice(0, 60)}” cannot be read as a picture by this browser.`);
  }
}

// As large as a session takes; that of a very wide input is made smaller.
export function smallOf(picture, spec) {
  for (let height = SMALL; height >= LEAST; height /= 2) {
    const canvas = fitted(document.createElement("canvas"), height, spec);
    drawSeen(canvas, picture, spec);
    const small = canvas.toDataURL("image/jpeg", 0.8);
    if (isSmall(small)) return small;
  }
  throw new Error("This browser makes no small picture of it, which a session keeps.");
}
