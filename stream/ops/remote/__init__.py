"""Files on servers of others, by S3 and by SFTP: listed, and read from any byte. Blocks."""
