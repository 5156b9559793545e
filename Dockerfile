# UNTESTED: no container engine was at hand when this was written. `npm run cluster` runs the same without containers, and is
# tested.
#
# One instance, for a Postgres and a NATS of its own: see compose.yaml. Needs DATABASE_URL and TRIBUTARY_ADMIN_KEY.
FROM node:24-slim AS console
WORKDIR /tributary
COPY package.json package-lock.json ./
RUN npm ci
COPY gen gen
COPY client client
COPY web web
COPY vite.config.ts tsconfig.json ./
RUN npm run build:web

FROM node:24-slim

WORKDIR /tributary
# Without the tools for development. Node 24 runs the TypeScript sources as they are, so the console is all that is built.
COPY package.json package-lock.json ./
RUN npm ci --omit=dev && npm cache clean --force
COPY proto proto
COPY gen gen
COPY db db
COPY server server
COPY client client
COPY cli cli
COPY --from=console /tributary/dist/web dist/web

USER node
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Not by npm: it would stand between the signal and the server.
CMD ["node", "--max-semi-space-size=8", "cli/main.ts", "serve"]
