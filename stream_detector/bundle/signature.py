"""Ed25519 signatures of a bundle's manifest, which holds the hash of every other file of the bundle.

Most bundles are not signed: the library is imported, for 7 MB of memory, where a signature is written or demanded.
"""

from stream_detector.errors import BundleError, UsageError

RAW_KEY_BYTES = 32


def sign(content: bytes, private_key: bytes) -> bytes:
    """Signature (64 bytes) of `content`; private_key: 32 raw bytes or PEM without a password."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if len(private_key) == RAW_KEY_BYTES:
            key = Ed25519PrivateKey.from_private_bytes(private_key)
        else:
            loaded = load_pem_private_key(private_key, password=None)
            if not isinstance(loaded, Ed25519PrivateKey):
                raise ValueError(f"it is a {type(loaded).__name__}")
            key = loaded
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"the private key is not an Ed25519 key in PEM ({error}); `openssl genpkey -algorithm ed25519` makes one"
        ) from error
    return key.sign(content)


def verify(content: bytes, signature: bytes, public_key: bytes) -> None:
    """BundleError unless `signature` is that of `content`; public_key: 32 raw bytes or PEM, else UsageError."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        if len(public_key) == RAW_KEY_BYTES:
            key = Ed25519PublicKey.from_public_bytes(public_key)
        else:
            loaded = load_pem_public_key(public_key)
            if not isinstance(loaded, Ed25519PublicKey):
                raise ValueError(f"it is a {type(loaded).__name__}")
            key = loaded
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"the public key is not an Ed25519 key in PEM ({error}); `openssl pkey -in KEY -pubout` prints it"
        ) from error
    try:
        key.verify(signature, content)
    except InvalidSignature:
        raise BundleError(
            "the bundle's signature is not one of the given public key: the manifest was changed or signed by someone "
            "else; do not use it"
        ) from None
