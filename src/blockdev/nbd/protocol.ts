/**
 * The numbers of the NBD protocol (fixed newstyle, simple and structured replies). Everything on the wire is big-endian.
 * Magic numbers of 64 bits are two halves: no BigInt is needed anywhere.
 */

export const NBDMAGIC = [0x4e42444d, 0x41474943] as const;
export const IHAVEOPT = [0x49484156, 0x454f5054] as const;
export const OPTION_REPLY_MAGIC = [0x0003e889, 0x045565a9] as const;

export const HandshakeFlag = { FIXED_NEWSTYLE: 1, NO_ZEROES: 2 } as const;

export const Option = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
} as const;

export const OptionReply = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  ERR_UNSUP: 0x8000_0001,
  ERR_INVALID: 0x8000_0003,
  ERR_UNKNOWN: 0x8000_0006,
  ERR_TOO_BIG: 0x8000_0009,
} as const;

export const InfoType = { EXPORT: 0, NAME: 1, BLOCK_SIZE: 3 } as const;

export const TransmissionFlag = {
  HAS_FLAGS: 0x001,
  READ_ONLY: 0x002,
  SEND_FLUSH: 0x004,
  SEND_FUA: 0x008,
  SEND_TRIM: 0x020,
  SEND_WRITE_ZEROES: 0x040,
  SEND_DF: 0x080,
  CAN_MULTI_CONN: 0x100,
} as const;

export const Command = { READ: 0, WRITE: 1, DISC: 2, FLUSH: 3, TRIM: 4, WRITE_ZEROES: 6 } as const;

export const CommandFlag = { FUA: 1, NO_HOLE: 2, DF: 4 } as const;

/** The error numbers that may go over the wire, whatever the host calls them. */
export const NbdErrno = { EPERM: 1, EIO: 5, EINVAL: 22, ENOSPC: 28, ESHUTDOWN: 108 } as const;

/** magic u32 @0, flags u16 @4, command u16 @6, cookie u64 @8, offset u64 @16, length u32 @24. */
export const REQUEST_BYTES = 28;
export const REQUEST_MAGIC = 0x2560_9513;

/** magic u32 @0, error u32 @4, cookie u64 @8. */
export const SIMPLE_REPLY_BYTES = 16;
export const SIMPLE_REPLY_MAGIC = 0x6744_6698;

/** magic u32 @0, flags u16 @4, type u16 @6, cookie u64 @8, length u32 @16. */
export const CHUNK_BYTES = 20;
export const CHUNK_MAGIC = 0x668e_33ef;
export const CHUNK_DONE = 1;
export const ChunkType = { OFFSET_DATA: 1, ERROR: 0x8001 } as const;
/** Before the data of an OFFSET_DATA chunk: offset u64. */
export const OFFSET_DATA_BYTES = 8;
/** Payload of an ERROR chunk without a text: error u32, text length u16. */
export const ERROR_CHUNK_BYTES = 6;

/** What a client may send that was told no other limit, and what we tell ours at most. */
export const MAX_PAYLOAD = 32 * 1024 * 1024;
/** Of names and other strings, by the protocol. */
export const MAX_STRING = 4096;
