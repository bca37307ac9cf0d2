import { DIMMED, RING, pointStyle, rgb, tiles } from "./styles.js";

const VERTEX = `#version 300 es
precision highp float; precision highp int;
in vec2 at; in vec4 color; in float marker;
uniform vec2 middle, scale; uniform vec3 ink; uniform float size, rings; uniform int ring;
out vec4 tint; flat out float tile;
void main() {
  gl_Position = vec4((at - middle) * scale, 0.0, 1.0);
  gl_PointSize = size;
  tint = ring < 0 ? color : vec4(ink, rings * color.a);
  tile = ring < 0 ? marker : float(ring);
}`;
const FRAGMENT = `#version 300 es
precision highp float; precision highp int; precision mediump sampler2DArray;
in vec4 tint; flat in float tile;
uniform sampler2DArray tiles; uniform vec3 ink; uniform int ring;
out vec4 drawn;
void main() {
  vec2 cover = texture(tiles, vec3(gl_PointCoord, tile)).rg;
  vec3 edge = mix(tint.rgb, ink, 0.4); // of a ring, its own color
  drawn = vec4(mix(edge, tint.rgb, cover.g / max(cover.r, 0.01)), cover.r * tint.a);
}`;

/** Draws clips with WebGL 2, whole in one call and errors' rings in another. */
export class WebglPoints {
  /** Throws if the browser has no WebGL 2. */
  constructor(canvas, clips) {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false });
    if (!gl) throw new Error("no WebGL 2");
    this.canvas = canvas;
    this.clips = clips;
    this.gl = gl;
    this.program = linked(gl);
    this.buffers = {
      at: this.#attribute("at", 2, gl.FLOAT, false),
      color: this.#attribute("color", 4, gl.UNSIGNED_BYTE, true),
      marker: this.#attribute("marker", 1, gl.UNSIGNED_BYTE, false),
      rows: gl.createBuffer(),
      wrong: gl.createBuffer(),
    };
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.at);
    gl.bufferData(gl.ARRAY_BUFFER, clips.at, gl.STATIC_DRAW);
    uploadTiles(gl);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    this.show(new Uint32Array(0));
  }

  /** Which rows to draw, each above those before it. */
  show(rows) {
    this.#index("rows", rows);
    const wrong = rows.filter(this.clips.isWrong);
    this.#index("wrong", wrong);
    this.counts = { rows: rows.length, wrong: wrong.length };
  }

  /** Color by a column, and dim what is not selected if something is. */
  paint({ column, dark, selected }) {
    const { gl, clips } = this;
    const { names, codes } = clips.columns[column];
    const styles = names.map((_, code) => pointStyle(clips, column, code, dark));
    const shades = styles.map(({ color }) => rgb(color));
    const colors = new Uint8Array(4 * clips.num);
    const markers = new Uint8Array(clips.num);
    for (let row = 0; row < clips.num; row++) {
      const opacity = selected.size && !selected.has(row) ? DIMMED : 0.9;
      colors.set(shades[codes[row]], 4 * row);
      colors[4 * row + 3] = 255 * opacity;
      markers[row] = styles[codes[row]].marker;
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.color);
    gl.bufferData(gl.ARRAY_BUFFER, colors, gl.DYNAMIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.marker);
    gl.bufferData(gl.ARRAY_BUFFER, markers, gl.DYNAMIC_DRAW);
  }

  /**
   * Draw; size is a point's in pixels of the page, rings the opacity of those around errors, ink and
   * ground are [red, green, blue].
   */
  draw(view, { size, rings, ink, ground }) {
    const { gl, canvas } = this;
    const unit = canvas.width / view.width; // pixels of the screen in one of the page
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(...ground.map((value) => value / 255), 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(this.#uniform("middle"), view.x, view.y);
    gl.uniform2f(
      this.#uniform("scale"),
      (2 * view.scale) / view.width,
      (2 * view.scale) / view.height,
    );
    gl.uniform3f(this.#uniform("ink"), ...ink.map((value) => value / 255));
    gl.uniform1f(this.#uniform("rings"), rings);
    this.#points("rows", -1, size * unit);
    this.#points("wrong", RING, (1.35 * size + 4) * unit);
  }

  #points(kind, ring, size) {
    const { gl } = this;
    gl.uniform1i(this.#uniform("ring"), ring);
    gl.uniform1f(this.#uniform("size"), size);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers[kind]);
    gl.drawElements(gl.POINTS, this.counts[kind], gl.UNSIGNED_INT, 0);
  }

  #index(kind, rows) {
    this.gl.bindBuffer(this.gl.ELEMENT_ARRAY_BUFFER, this.buffers[kind]);
    this.gl.bufferData(this.gl.ELEMENT_ARRAY_BUFFER, rows, this.gl.DYNAMIC_DRAW);
  }

  #attribute(name, size, type, normalized) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    const place = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, type, normalized, 0, 0);
    return buffer;
  }

  #uniform(name) {
    return this.gl.getUniformLocation(this.program, name);
  }
}

function linked(gl) {
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    throw new Error("the shaders do not link");
  }
  gl.useProgram(program);
  return program;
}

/** Markers as a texture with a layer each, also in smaller sizes. */
function uploadTiles(gl) {
  const { pixels, side } = tiles();
  gl.bindTexture(gl.TEXTURE_2D_ARRAY, gl.createTexture());
  gl.texImage3D(
    gl.TEXTURE_2D_ARRAY,
    0,
    gl.RGBA8,
    side,
    side,
    RING + 1,
    0,
    gl.RGBA,
    gl.UNSIGNED_BYTE,
    pixels.data,
  );
  gl.generateMipmap(gl.TEXTURE_2D_ARRAY);
  gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_NEAREST);
}
