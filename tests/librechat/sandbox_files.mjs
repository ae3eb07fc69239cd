// The host's read_file, create_file and image reader, which are small bash programs for /exec.
import http from "node:http";

import { axiosVersion, baseUrl, callHeaders } from "./settings.mjs";

const { default: axios } = await import(`axios-${axiosVersion}`);
const httpAgent = new http.Agent({ keepAlive: false });

async function execute(code, { sessionId, files, runtimeSessionHint }) {
  const { data } = await axios({
    method: "post",
    url: `${baseUrl}/exec`,
    data: {
      lang: "bash",
      code,
      ...(sessionId && { session_id: sessionId }),
      ...(runtimeSessionHint && { runtime_session_hint: runtimeSessionHint }),
      ...(files?.length > 0 && { files }),
    },
    headers: { "Content-Type": "application/json", ...callHeaders },
    httpAgent,
    timeout: 15_000,
  });
  return data;
}

// The one way in which these helpers learn of a failure: something on stderr and nothing on stdout.
function orThrow(result) {
  if (result.stderr && !result.stdout) throw new Error(result.stderr.trim());
  return result;
}

const base64 = (text) => Buffer.from(text, "utf8").toString("base64");
const python = (...lines) => ["python3 - <<'PY'", ...lines, "PY"].join("\n");

/** A command as it is, with the raw answer: what the host's own code sees. */
export const run = ({ code, ...where }) => execute(code, where);

export async function readText({ path, ...where }) {
  const quoted = `'${path.replaceAll("'", `'\\''`)}'`;
  const { stdout } = orThrow(await execute(`cat ${quoted}`, where));
  return stdout == null ? null : String(stdout);
}

export async function writeText({ path, text, ...where }) {
  const order = base64(JSON.stringify({ path, bytes: base64(text) }));
  const code = python(
    "import base64, json, pathlib",
    `order = json.loads(base64.b64decode("${order}"))`,
    'target = pathlib.Path(order["path"])',
    "target.parent.mkdir(parents=True, exist_ok=True)",
    'written = target.write_bytes(base64.b64decode(order["bytes"]))',
    'print(f"WROTE {written} bytes to {target}")',
  );
  return orThrow(await execute(code, where));
}

/** The bytes come as base64, a window a call: stdout is text of limited length. */
export async function readImage({ path, windowBytes, ...where }) {
  const parts = [];
  let offset = 0;
  for (let call = 1; call <= 20; call += 1) {
    const order = base64(JSON.stringify({ path, offset, windowBytes }));
    const code = python(
      "import base64, json, os",
      `order = json.loads(base64.b64decode("${order}"))`,
      'with open(order["path"], "rb") as image:',
      '    image.seek(order["offset"])',
      '    window = image.read(order["windowBytes"])',
      "    size = os.fstat(image.fileno()).st_size",
      'b64 = base64.b64encode(window).decode("ascii")',
      'print(json.dumps({"total": size, "n": len(window), "b64": b64}))',
    );
    const answer = orThrow(await execute(code, where));
    if (answer.status === "OL") throw new Error(`A window of ${windowBytes} bytes was cut`);
    const lines = answer.stdout.split("\n").filter((line) => line.trim());
    const { total, n, b64 } = JSON.parse(lines.at(-1));
    parts.push(b64);
    offset += n;
    if (n === 0 || offset >= total) {
      const bytes = Buffer.concat(parts.map((part) => Buffer.from(part, "base64")));
      return { base64: bytes.toString("base64"), calls: call };
    }
  }
  throw new Error("The image needs more calls than one read may make");
}
