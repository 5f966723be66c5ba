//! A throw-away RSA key pair for demos and tests. **Both halves are public**: anybody can read them here, so they prove
//! nothing and must never stand for a real merchant. It exists because `ring` verifies and signs RSA but cannot make keys.

/// PKCS#8 PEM of the throw-away private key: what a simulated merchant signs its B2B token request with.
pub const DEMO_PRIVATE_KEY_PEM: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQDkY88fB7rtvWxP\n\
CvTmIyCnNYZHZqH5Sm26G4Wia3a5Q/houqAoPOaDhri6fjOmUrThFlDj0RHCx7NZ\n\
1hKM97FwvT2yY715H762DaPgR5v2W5iBDZL6v3P6cG3alhSjswrG13IeGOPiz+np\n\
k9k+UR/pUF4bOzqti5QrDzSEwBwxd8i631DHzQ2b4vICqSFRBAH9Bydkl4FIzdOh\n\
Mj+9W7TO6Pa8W1rOsQW+QRHzX36n6mBdnftgq4BOI1xjasSyDAwuUph3GeXtRYKn\n\
zlpAL4yBsD8WmOKnA8bUEzFU+LiwiE+HI6aCXfagEd5W7Jc0mV2+a5Zk30eDz1xp\n\
qxhrvT57AgMBAAECggEAGz6OxBhYzlMPha78aixG5mYQ/Rkl+Zt30xYaZGF7uaZS\n\
joezYulqOXFg6ET1ZgICuBZrPX9Apk11PHe4IcnLCHRX/5znSs4keAomLN3N9zQ+\n\
USgXNZiQvg9wWKgY5og39mKtUcrNUHlV4XpfarrPBYwula1Z7BQ073KyZKLtb2Gt\n\
aTNz1kNIu37tAsg7sK9lSm5fdfoBj29KgIozsx2LltNio62cU+k5wucfIMnJmMxh\n\
huoHKVybhKPCqLvc6JWCQdPyWy+B3bahAUGVrKsHW6jtW4t+kAlflAjhLgUjpBwD\n\
QXjJHLuysfoNRyWaMdqaYSVof7WnEAR9I9A8yoRhTQKBgQD6TRxks8JxI0Vne10v\n\
o63N6l1EP9KjIzTi2CtqyiaDnJnp779Pz9M1Xow28fQe5DB0UtDulhwYpVwrpZMQ\n\
8u5bNF1qLDCvqiawHFXDAfD23pnWF7hEAppSAR1VKAJO6nGeaHcc1Ku8Wv8n890W\n\
qOtY47QWlNt29PSv9q187pthdQKBgQDplvy48yfIQ8Zt5ulSDkAHqiDy0qN4sR7d\n\
6xu0bb1K8bw21k4TS7771ujvub9X177YVgV5Q8rIPAaw17z7hA0OZ7K2SVJjqCQQ\n\
xVA07rQ/603eqZzTxWIpRZ7i1O0ldrPkSnWBiP6ajXtkVhNLfmASO9S5uCkCoadq\n\
hE/I3EeyLwKBgQD46yy8fQR27UO9WLLgiJ91M4iTMgFxGbcjjSUIa4cHxfpO6o1Q\n\
evapkaBRmCdVfUsus5lyXDgOzowuH9h0t5MRgq8PwmicmdMlutgTOeAAMnm8rxQi\n\
FpCP0unv4P0CrCZYCb3DH0C27avoeJ27Rjvex3w2JM1orMyWHfSEVOqTbQKBgQCF\n\
ip9CsShuMmkPzbJYCfOLLjUV/VwdlMz7u/yjwxUz8k1S4GPUXjp6SZvz6TI96wad\n\
MViBwkL9BGwiz8On2w+Hy7r8waBLfwXXXKaFDG6aGFD1WexhmXeL9tRmA6rr/xfL\n\
DNJu0r4T54zCiP8Q6tfLtM7huiof6gEHQUtHnr+SWwKBgQDk2Dg0FF6cEvtyHGSC\n\
GAw48uWS1tltYQ/raTfrVB+VTuKzo2VfIZnAbiHq8unAgKhuTHiOZg/GxiqQszP0\n\
fVmpa+dFNWBkxLmNmfvDNr0QtnUR06U7ihHWftDqmMq5gHqXH4/DDW9Kr6LlMHzd\n\
14GKpABgW9n+nXmV1Bi5fQ2XsA==\n\
-----END PRIVATE KEY-----\n";

/// SPKI PEM of the throw-away public key: what the simulator verifies that merchant's signatures with.
pub const DEMO_PUBLIC_KEY_PEM: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5GPPHwe67b1sTwr05iMg\n\
pzWGR2ah+UptuhuFomt2uUP4aLqgKDzmg4a4un4zplK04RZQ49ERwsezWdYSjPex\n\
cL09smO9eR++tg2j4Eeb9luYgQ2S+r9z+nBt2pYUo7MKxtdyHhjj4s/p6ZPZPlEf\n\
6VBeGzs6rYuUKw80hMAcMXfIut9Qx80Nm+LyAqkhUQQB/QcnZJeBSM3ToTI/vVu0\n\
zuj2vFtazrEFvkER819+p+pgXZ37YKuATiNcY2rEsgwMLlKYdxnl7UWCp85aQC+M\n\
gbA/FpjipwPG1BMxVPi4sIhPhyOmgl32oBHeVuyXNJldvmuWZN9Hg89caasYa70+\n\
ewIDAQAB\n\
-----END PUBLIC KEY-----\n";
