# /etc/profile has set PATH anew, for `bash -l`.
PATH=/opt/venv/bin:$PATH
