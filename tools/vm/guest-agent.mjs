// Runs in the guest: carries out what the host asks for over the virtio port, a JSON document a line each way.
//   host:  {id, command, limitMs} | {id, read}        guest: {ready} | {id, exitCode, signal, stdout, stderr} | {id, bytes} | {id, error}
import { spawn } from "node:child_process";
import { closeSync, createReadStream, openSync, readdirSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";

const name = readdirSync("/dev").find((entry) => entry.startsWith("vport"));
// The port can be opened once.
const port = openSync(`/dev/${name}`, "r+");

function say(message) {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
  for (let done = 0; done < bytes.length; ) done += writeSync(port, bytes, done);
}

let commands = 0;

function run({ id, command, limitMs }) {
  // Files, not pipes: what a command leaves running in the background may hold its output open for ever.
  const files = ["out", "err"].map((kind) => `/tmp/.vm-${++commands}.${kind}`);
  const [stdout, stderr] = files.map((file) => openSync(file, "w"));
  const child = spawn("/bin/sh", ["-c", command], { stdio: ["ignore", stdout, stderr], detached: true });
  closeSync(stdout);
  closeSync(stderr);
  const timer = setTimeout(() => process.kill(-child.pid, "SIGKILL"), limitMs);
  child.once("exit", (code, signal) => {
    clearTimeout(timer);
    const [said, complained] = files.map((file) => readFileSync(file, "utf8"));
    for (const file of files) unlinkSync(file);
    say({ id, exitCode: code, signal, stdout: said, stderr: complained });
  });
}

function read({ id, read: path }) {
  try {
    say({ id, bytes: readFileSync(path).toString("base64") });
  } catch (error) {
    say({ id, error: error.message });
  }
}

createInterface({ input: createReadStream("", { fd: port }) }).on("line", (line) => {
  const request = JSON.parse(line);
  if (request.read === undefined) run(request);
  else read(request);
});
say({ ready: true });
