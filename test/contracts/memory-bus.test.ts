import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { busContract } from "./bus-contract.ts";

busContract("memory", () => Promise.resolve(createMemoryBus()));
