/** The client that the other examples use: of the server at TRIBUTARY_URL, with the key in TRIBUTARY_API_KEY. */
import { createTributaryClient } from "tributary/client";

export const client = createTributaryClient({
  baseUrl: process.env["TRIBUTARY_URL"] ?? "http://127.0.0.1:8080",
  credential: process.env["TRIBUTARY_API_KEY"] ?? "",
});
