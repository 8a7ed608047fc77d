import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import {
  createServer as createTlsServer,
  type PeerCertificate,
  type TLSSocket,
  type Server as TlsServer,
} from "node:tls";
import { MdError } from "../../base/md-error.ts";
import type { Env } from "../../env/env.ts";
import { HELLO_MS } from "./server-connection.ts";
import { type NetAddress, netAddressText } from "./socket-address.ts";
import { readTlsFiles } from "./tls-files.ts";
import { certificateProblem } from "./tls-reasons.ts";

/** A dead peer is noticed after this and ten probes, one a second. */
const KEEPALIVE_MS = 5000;

/** A client that got as far as its first word. `names`: of nodes, out of its certificate; null: no TLS. */
export interface Arrival {
  readonly socket: Socket;
  readonly about: string;
  readonly names: readonly string[] | null;
  /** Why its certificate does not count. It may be told, and nothing else. */
  readonly problem: string | null;
}

export interface NetListenerOptions {
  readonly address: NetAddress;
  readonly env: Env;
  /** Every connection, before anything is known of it. */
  readonly onRaw: (socket: Socket) => void;
  readonly onArrival: (arrival: Arrival) => void;
}

/**
 * Listens for clients in the network. With TLS both ends show certificates (1.3 only: both ends are ours). A client
 * whose certificate does not count is let through the handshake, so that it can be told in words what is wrong.
 * Throws what `readTlsFiles` throws; E_DAEMON if the port cannot be had.
 */
export async function listenInNetwork(options: NetListenerOptions): Promise<Server> {
  const { address, env, onRaw } = options;
  const server = address.tls === null ? plainServer(options) : tlsServer(options, address.tls.ca);
  server.on("connection", (socket) => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEPALIVE_MS);
    socket.on("error", () => socket.destroy());
    onRaw(socket);
  });
  await new Promise<void>((resolve, reject) => {
    const failed = (error: Error): void => {
      reject(
        new MdError("E_DAEMON", `cannot listen on ${netAddressText(address)}`, { why: error.message, cause: error }),
      );
    };
    server.once("error", failed);
    server.listen({ host: address.host, port: address.port }, () => {
      server.off("error", failed);
      server.on("error", (error) => env.log.error({ evt: "lockd.listen", err: error }, "accepting a client failed"));
      resolve();
    });
  });
  return server;
}

function plainServer({ onArrival }: NetListenerOptions): Server {
  const server = createTcpServer();
  server.on("connection", (socket) => onArrival({ socket, about: peerOf(socket), names: null, problem: null }));
  return server;
}

function tlsServer({ address, env, onArrival }: NetListenerOptions, ca: string): TlsServer {
  if (address.tls === null) throw new TypeError("TLS needs files");
  const server = createTlsServer({
    ...readTlsFiles(address.tls, env),
    requestCert: true,
    // Judged below, in words, before anything that it says is read.
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    handshakeTimeout: HELLO_MS,
  });
  const failed = (about: string, reason: string): void => {
    env.log.warn({ evt: "lockd.handshake", peer: about, reason }, `no TLS with ${about}: ${reason}`);
  };
  /** Peers in the middle of a handshake. One that just goes has an address no more when that is found out. */
  const shaking = new Set<string>();
  server.on("connection", (raw) => {
    const about = peerOf(raw);
    shaking.add(about);
    raw.on("close", () => {
      // TLS does not tell a server whom its client distrusts.
      if (shaking.delete(about)) failed(about, "it went without a word: it may not trust this server's certificate");
    });
  });
  server.on("tlsClientError", (error, socket) => {
    const about = peerOf(socket);
    if (shaking.delete(about)) failed(about, error.message);
  });
  server.on("secureConnection", (socket) => {
    const certificate = socket.getPeerCertificate();
    const about = peerOf(socket);
    shaking.delete(about);
    onArrival({
      socket,
      about,
      names: namesIn(certificate),
      problem: problemOf(socket, certificate, ca),
    });
  });
  return server;
}

/** Uses what stands in the files now for connections from now on. Throws as `readTlsFiles`; nothing changes then. */
export function renewCertificate(server: Server, address: NetAddress, env: Env): void {
  if (address.tls !== null) (server as TlsServer).setSecureContext(readTlsFiles(address.tls, env));
}

const peerOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress ?? "somebody"}:${remotePort ?? 0}`;

function problemOf(socket: TLSSocket, certificate: PeerCertificate, ca: string): string | null {
  if (socket.authorized) return null;
  if (Object.keys(certificate).length === 0) return "it shows no certificate";
  // Node's types call this an Error; it is the code.
  const code = String(socket.authorizationError);
  return certificateProblem(code, ca) ?? `its certificate is not accepted: ${code}`;
}

/** The subject's common name and the DNS names among the alternative ones: a certificate for several nodes lists them. */
function namesIn({ subject, subjectaltname = "" }: Partial<PeerCertificate>): readonly string[] {
  const commonName: unknown = subject?.CN;
  const alternatives = subjectaltname.split(", ").flatMap((name) => (name.startsWith("DNS:") ? [name.slice(4)] : []));
  return [...(typeof commonName === "string" ? [commonName] : []), ...alternatives];
}
