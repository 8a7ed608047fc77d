import type { ChannelEffect, ConvertStep } from "./channel-state.ts";

export const TOKEN_EX: ConvertStep = { lock: "token", mode: "EX" };
export const TOKEN_NL: ConvertStep = { lock: "token", mode: "NL" };
export const MESSAGE_EX: ConvertStep = { lock: "message", mode: "EX" };
export const MESSAGE_NL: ConvertStep = { lock: "message", mode: "NL" };
export const ACK_CR: ConvertStep = { lock: "ack", mode: "CR" };
export const ACK_EX: ConvertStep = { lock: "ack", mode: "EX" };

export const send = (...steps: ConvertStep[]): ChannelEffect[] => [{ type: "convert", half: "sending", steps }];
export const receive = (...steps: ConvertStep[]): ChannelEffect => ({ type: "convert", half: "receiving", steps });
