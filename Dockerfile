# One static file in an empty image: no shell, no package manager, no root.
#
#   docker build -t grantor .
#   docker run --rm grantor version

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -tags nopgxregisterdefaulttypes,grpcnotrace -trimpath -ldflags '-s -w' -o /out/grantor ./cmd/grantor
RUN mkdir -p /out/data

FROM scratch
# For databases and identity providers that are reached over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/grantor /grantor
# SQLite, where it is used, and generated secrets live here.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
EXPOSE 8080
# No HEALTHCHECK: there is no program in here that could ask. Ask /readyz from outside.
ENTRYPOINT ["/grantor"]
CMD ["serve"]
