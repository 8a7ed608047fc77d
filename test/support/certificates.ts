import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsFiles } from "../../src/dlm/socket/socket-address.ts";

const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
const openssl = (...args: readonly string[]): void => {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
};

/** A certificate authority in a folder. */
export class TestCa {
  readonly path: string;
  readonly #folder: string;
  readonly #key: string;
  #count = 0;

  constructor(folder: string, name = "ca") {
    this.#folder = folder;
    this.path = join(folder, `${name}.pem`);
    this.#key = join(folder, `${name}.key`);
    openssl("req", "-x509", ...newKey, "-keyout", this.#key, "-out", this.path, "-days", "30", "-subj", `/CN=${name}`);
  }

  /** A new key and its certificate; negative `days`: one that has expired. `trusts`: the CA that its owner believes. */
  issue(commonName: string, names: string, days = 30, trusts: TestCa = this): TlsFiles {
    this.#count += 1;
    const file = (end: string): string => join(this.#folder, `${commonName}-${this.#count}.${end}`);
    const [key, request, extensions, cert] = [file("key"), file("csr"), file("ext"), file("pem")];
    writeFileSync(extensions, `subjectAltName=${names}\n`);
    openssl("req", ...newKey, "-keyout", key, "-out", request, "-subj", `/CN=${commonName}`);
    const signed = ["-CA", this.path, "-CAkey", this.#key, "-CAcreateserial", "-days", `${days}`];
    openssl("x509", "-req", "-in", request, ...signed, "-extfile", extensions, "-out", cert);
    return { ca: trusts.path, cert, key };
  }
}

/** Names under which tests call a server. */
export const LOOPBACK = "IP:127.0.0.1,DNS:localhost";
