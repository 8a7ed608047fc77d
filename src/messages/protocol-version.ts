import { MdError } from "../base/md-error.ts";

/** What a node can speak: versions of the messages and value blocks, and features as bits. */
export interface ProtocolRange {
  readonly oldest: number;
  readonly newest: number;
  readonly features: number;
}

/** What a cluster speaks: settled by its first member, for as long as any member lives. */
export interface Protocol {
  readonly version: number;
  /** Every member must have them. */
  readonly features: number;
}

/** What a member says of itself, in the value block of its `bitmapNNNN`. */
export interface Speech {
  readonly range: ProtocolRange;
  readonly spoken: Protocol;
}

export const protocolFeatures = {
  /** Refusals are told (`resultNNNN`). */
  results: 1,
  /** A raid_disk may have a second member, its replacement, which every node writes to. */
  replacements: 2,
} as const;

/** Raise `newest` when a message or value block changes; raise `oldest` when the code for an old one goes. 1 to 255. */
export const ownProtocol: ProtocolRange = {
  oldest: 1,
  newest: 1,
  features: protocolFeatures.results | protocolFeatures.replacements,
};

/**
 * What a node speaks that joins these members, of whom each has agreed with the others. E_PROTOCOL_VERSION, which names
 * both sides, if it cannot.
 */
export function agreeOnProtocol(
  own: ProtocolRange,
  members: readonly { readonly node: string; readonly speech: Speech }[],
): Protocol {
  const [first] = members;
  if (first === undefined) return { version: own.newest, features: own.features };
  const { node, speech } = first;
  const { version, features } = speech.spoken;
  if (version < own.oldest || version > own.newest) {
    throw refusal(`${node} speaks version ${version} of the cluster protocol, this node speaks ${rangeText(own)}`);
  }
  const lacking = features & ~own.features;
  if (lacking !== 0) {
    throw refusal(`${node} relies on features 0x${features.toString(16)}, this node lacks 0x${lacking.toString(16)}`);
  }
  return speech.spoken;
}

const rangeText = ({ oldest, newest }: ProtocolRange): string =>
  oldest === newest ? `${newest} only` : `${oldest} to ${newest}`;

const refusal = (why: string): MdError =>
  new MdError("E_PROTOCOL_VERSION", "this node does not speak as the others do", {
    why,
    hint: "mdctl cluster status",
  });
