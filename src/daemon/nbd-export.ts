import { join } from "node:path";
import { MdError } from "../base/md-error.ts";
import type { ListenAddress } from "../blockdev/io-ring.ts";
import type { ExportableArray, Exported } from "./array-export.ts";
import { fileNameOf } from "./array-name.ts";

interface NbdWish {
  /** Of Unix sockets. */
  readonly folder: string;
  readonly listen: string | null;
  readonly readOnly: boolean;
  readonly depth: number;
}

/** Exports the array over NBD. E_VALUE for an address that is not of this host alone; E_IO. */
export async function exportOverNbd(
  array: ExportableArray,
  { folder, listen, readOnly, depth }: NbdWish,
): Promise<Exported> {
  const address = listenAddress(listen, join(folder, `${fileNameOf(array.name, array.uuid)}.nbd.sock`));
  const port = await array.attach({
    type: "nbd",
    address,
    exportName: array.name,
    readOnly,
    // One loop serves all connections of this node: a flush on one covers what was written on any.
    multiConn: true,
  });
  return {
    ...namesOf(address, port, array.name),
    frontend: "nbd",
    readOnly,
    queues: 1,
    depth,
    // Who is connected to a socket, only the requests in flight tell.
    holders: () => [],
    end: () => array.detach(),
  };
}

function listenAddress(listen: string | null, otherwise: string): ListenAddress {
  if (listen === null) return { type: "unix", path: otherwise };
  if (listen.startsWith("unix:")) return { type: "unix", path: listen.slice("unix:".length) };
  const match = /^(\[[0-9a-fA-F:]+\]|[^:]+):(\d{1,5})$/.exec(listen);
  const host = match?.[1]?.replace(/^\[|\]$/g, "") ?? "";
  if (match === null) throw new MdError("E_VALUE", `listen: "${listen}" is neither HOST:PORT nor unix:PATH`);
  if (!/^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host)) {
    throw new MdError("E_VALUE", `listen: ${host} is not an address of this host alone`, {
      why: "NBD has no passwords: whoever reaches the port may read and write the array",
      hint: `--listen=127.0.0.1:${match[2]}`,
    });
  }
  return { type: "tcp", host, port: Number(match[2]) };
}

function namesOf(address: ListenAddress, port: number, name: string): Pick<Exported, "device" | "uri"> {
  const exportName = encodeURIComponent(name);
  if (address.type === "unix") {
    const uri = `nbd+unix:///${exportName}?socket=${encodeURI(address.path)}`;
    return { device: address.path, uri };
  }
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return { device: `${host}:${port}`, uri: `nbd://${host}:${port}/${exportName}` };
}
