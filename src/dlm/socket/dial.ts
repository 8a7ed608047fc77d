import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { MdError } from "../../base/md-error.ts";
import type { Env } from "../../env/env.ts";
import { type NetAddress, netAddressText } from "./socket-address.ts";
import { readTlsFiles } from "./tls-files.ts";
import { certificateProblem } from "./tls-reasons.ts";

/** Where a client finds its lock server: the path of a Unix socket, or an address in the network. */
export type ServerAddress = string | NetAddress;

export const aboutServer = (address: ServerAddress): string =>
  typeof address === "string" ? `unix:${address}` : `mdctl+${netAddressText(address)}`;

/** A dead peer is noticed after this and ten probes, one a second; sooner while a call is unanswered. */
const KEEPALIVE_MS = 5000;

/** Begins to connect. Throws what `readTlsFiles` throws. */
export function dial(address: ServerAddress, env: Env): Socket {
  if (typeof address === "string") return connectTcp(address);
  const { host, port, tls } = address;
  const target = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS };
  if (tls === null) return connectTcp(target);
  const name = isIP(host) === 0 ? { servername: host } : {};
  return connectTls({ ...target, ...name, ...readTlsFiles(tls, env), minVersion: "TLSv1.3" });
}

/**
 * Why no connection came about. E_LOCK_SERVICE_LOST: it may work later. E_PERMISSION: the server's certificate does not
 * count. E_PROTOCOL_VERSION: who listens there speaks something else.
 */
export function dialProblem(address: ServerAddress, error: Error | null): MdError {
  const about = aboutServer(address);
  const code = error !== null && "code" in error ? String(error.code) : "";
  if (typeof address !== "string" && address.tls !== null) {
    const distrust = (why: string, hint: string): MdError =>
      new MdError("E_PERMISSION", `the lock server ${about} cannot be trusted`, {
        why,
        hint,
        ...(error === null ? {} : { cause: error }),
      });
    const look = `openssl s_client -connect ${address.host}:${address.port} -CAfile ${address.tls.ca}`;
    if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
      return distrust(`its certificate is not for ${address.host}`, `openssl x509 -noout -ext subjectAltName -in CERT`);
    }
    const problem = certificateProblem(code, address.tls.ca);
    if (problem !== null) return distrust(problem, look);
    if (code.startsWith("ERR_SSL_")) {
      const why = error?.message ?? code;
      return new MdError("E_PROTOCOL_VERSION", `who listens at ${about} does not speak TLS 1.3 with us`, { why });
    }
  }
  return new MdError("E_LOCK_SERVICE_LOST", `the lock server ${about} does not answer`, {
    ...(error === null ? {} : { why: error.message, cause: error }),
  });
}
