import { useServer } from "../support/server.ts";
import { findPythonWithGrpc } from "../support/tools.ts";
import { openPython } from "./drivers/python.ts";
import { describeClient } from "./matrix.ts";

const server = useServer();
const python = await findPythonWithGrpc();

describeClient("Python grpcio", server, () => openPython(python.path ?? "", server.url), {
  missing: python.missing,
});
